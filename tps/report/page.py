"""The page around the report's content: dark text on white, for screens, phones and paper."""

#: Filled with `str.format`: title, note, body, style. The policy in its head forbids any request to elsewhere.
PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'">
<title>{title}</title>
<style>
:root {{ color-scheme: light; }}
body {{ margin: 0 auto; max-width: 62rem; padding: 1rem 1.25rem 3rem; background: #fff; color: #1a1a1a;
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif; }}
h1 {{ font-size: 1.6rem; line-height: 1.25; margin: 0.5rem 0; }}
h2 {{ font-size: 1.15rem; margin: 2.2rem 0 0.6rem; }}
p.note {{ margin: 0.8rem 0; padding: 0.6rem 0.9rem; border-left: 4px solid #0072b2; background: #f1f7fb; }}
.warnings {{ margin: 1.2rem 0; padding: 0.2rem 0.9rem 0.4rem; border-left: 4px solid #d55e00;
  background: #fdf3ec; }}
.warnings h2 {{ margin-top: 0.5rem; }}
.warnings ul {{ margin: 0.3rem 0; padding-left: 1.2rem; }}
dl.summary {{ display: grid; grid-template-columns: repeat(auto-fit, minmax(13rem, 1fr)); gap: 0.6rem 1.5rem;
  margin: 1.2rem 0; }}
dl.summary div {{ border-top: 1px solid #c8c8c8; padding-top: 0.35rem; }}
dt {{ color: #555; font-size: 0.85rem; }}
dd {{ margin: 0; font-size: 1.05rem; overflow-wrap: anywhere; }}
.wide {{ overflow-x: auto; }}
table {{ border-collapse: collapse; width: 100%; }}
th, td {{ text-align: left; vertical-align: top; padding: 0.35rem 0.9rem 0.35rem 0;
  border-top: 1px solid #ddd; overflow-wrap: anywhere; }}
th {{ font-weight: 600; }}
code {{ font: 0.92em ui-monospace, "DejaVu Sans Mono", monospace; }}
table.where > tbody > tr > th {{ overflow-wrap: normal; white-space: nowrap; }}
thead th, thead td {{ border-top: 0; border-bottom: 2px solid #888; }}
td.number {{ white-space: nowrap; font-variant-numeric: tabular-nums; }}
.wide th, .wide td {{ overflow-wrap: normal; }}
table.inner {{ width: auto; }}
table.inner tr:first-child > * {{ border-top: 0; padding-top: 0; }}
table.stack tbody th {{ width: 28%; }}
figure {{ margin: 0; }}
figure img {{ max-width: 100%; max-height: 34rem; display: block; }}
figcaption {{ color: #444; font-size: 0.92rem; margin-top: 0.4rem; }}
@media (max-width: 40rem) {{
  body {{ padding: 0.5rem 0.9rem 2rem; }}
  table.stack thead {{ display: none; }}
  table.stack tr, table.stack tbody th, table.stack td {{ display: block; width: auto; border: 0;
    padding: 0; }}
  table.stack tr {{ border-top: 1px solid #ddd; padding: 0.5rem 0; }}
  table.stack td:last-child {{ color: #444; font-size: 0.92rem; }}
}}
@media print {{
  @page {{ margin: 16mm; }}
  body {{ max-width: none; padding: 0; font-size: 10.5pt; }}
  section, tr, figure {{ break-inside: avoid; }}
  section:has(table) {{ break-inside: auto; }}
  h2 {{ break-after: avoid; }}
  figure img {{ max-height: 150mm; }}
}}
{style}</style>
</head>
<body>
<h1>{title}</h1>
<p class="note">{note}</p>
{body}
</body>
</html>
"""
