"""Every public name of the geometry says what it takes and what it gives back."""

from __future__ import annotations

import inspect
from typing import is_typeddict

import pytest

from tps import spacetime

PUBLIC = {name: getattr(spacetime, name) for name in spacetime.__all__}
FUNCTIONS = {name: value for name, value in PUBLIC.items() if inspect.isfunction(value)}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_document_every_parameter_and_what_they_return(name):
    """NumPy sections, and every argument by name under Parameters."""
    text, signature = inspect.getdoc(FUNCTIONS[name]), inspect.signature(FUNCTIONS[name])
    assert "Parameters\n---" in text
    assert "Returns\n---" in text
    section = text.split("Parameters\n---")[1].split("\n\n")[0]
    for parameter in signature.parameters:
        assert parameter in section.replace(",", " ").replace("*", " ").split(), (
            f"{name} leaves out {parameter}"
        )


@pytest.mark.parametrize("name", [n for n, v in PUBLIC.items() if inspect.isclass(v)])
def test_classes_document_every_field_and_method(name):
    """Fields or arguments under Parameters; a sentence for each public method."""
    cls = PUBLIC[name]
    assert inspect.getdoc(cls)
    protocol = getattr(cls, "_is_protocol", False)
    arguments = list(inspect.signature(cls.__init__).parameters)[1:]
    if not protocol and not is_typeddict(cls) and arguments:
        section = inspect.getdoc(cls).split("Parameters\n---")[1]
        for argument in arguments:
            assert argument in section.replace(",", " ").replace("*", " ").split(), (
                f"{name} leaves out {argument}"
            )
    for method, value in vars(cls).items():
        if not method.startswith("_") and (inspect.isfunction(value) or isinstance(value, property)):
            assert inspect.getdoc(value), f"{name}.{method} says nothing"
