"""Whether regions wall an end off, on circles and lines, by hand."""

import pytest

from tps.errors import SystemDefinitionError
from tps.systems import load_system, parse_region


def blocked(name: str, *texts: str) -> str:
    system = load_system(name)
    try:
        system.check_avoided_regions([parse_region(text, system.collective_variables) for text in texts])
    except SystemDefinitionError as error:
        return str(error)
    return ""


@pytest.mark.parametrize(
    ("regions", "shut"),
    [
        (("phi=-30..30",), False),
        (("phi=150..-165",), False),
        (("phi=-30..30", "phi=110..-165"), True),
        (("phi=-30..30,psi=-180..180", "phi=110..170,psi=-180..180"), True),
        # a hole of one degree is a way, and a lid on it is not
        (("phi=-30..30,psi=10..9", "phi=110..170"), False),
        (("phi=-30..30,psi=10..9", "phi=110..170", "phi=-20..20,psi=8..11"), True),
        # a ring round B, and one that is open
        (
            (
                "phi=0..20,psi=-100..20",
                "phi=100..120,psi=-100..20",
                "phi=0..120,psi=-100..-80",
                "phi=0..120,psi=0..20",
            ),
            True,
        ),
        (("phi=0..20,psi=-100..20", "phi=100..120,psi=-100..20", "phi=0..120,psi=-100..-80"), False),
    ],
    ids=str,
)
def test_walls_on_the_torus(regions, shut):
    found = blocked("alanine-surface", *regions)
    assert bool(found) == shut
    if shut:
        assert "no way leads from point A (C5) to point B (C7ax) outside the regions to avoid ('phi=" in found


def test_walls_on_lines():
    assert "no way leads" in blocked("double-well", "x=-0.2..0.2")
    assert not blocked("dual-channel", "x=-0.5..0.5,y=-0.6..0.6")
    # from edge to edge of where the surface is
    assert "no way leads" in blocked("dual-channel", "x=-0.1..0.1,y=-50..50")
