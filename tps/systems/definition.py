"""What a system.toml says: one section per table, unit in every key."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, ConfigDict, Field, PositiveFloat, model_validator

from tps.sections import Section, check_plain


def _plain(value: object) -> object:
    """Refuse what pydantic would turn into a bound."""
    check_plain(value, float)
    return value


#: Two bounds, of which one may be infinite.
Bound = Annotated[float, Field(allow_inf_nan=True), BeforeValidator(_plain)]
Range = tuple[Bound, Bound]


class SystemSection(Section):
    """[system] The molecule, its end structures and the bath."""

    name: str = Field(min_length=1, description="Name shown to the user.")
    description: str = Field("", description="One sentence about the molecule and the transition.")
    structure_a: str = Field(description="End structure A, a PDB or mmCIF file beside system.toml.")
    structure_b: str = Field(description="End structure B, the same molecule in the same atom order.")
    temperature_kelvin: float = Field(300.0, ge=1, le=10_000, description="Bath temperature.")
    features: tuple[str, ...] = Field(
        min_length=1, description="Collective variables that are the features, or names of groups of them."
    )
    solute: str | None = Field(
        None, description="MDTraj selection of what is looked at; all that is not water or ion unless given."
    )


class ConfinementSection(Section):
    """[confinement] Ranges that the molecule is kept in by flat-bottomed walls, such as d_nm = [0, 1.2]; part of U."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, Range]

    stiffness_kj_per_mol: PositiveFloat = Field(1000.0, description="k of k/2 d² outside, per nm² or rad².")

    @property
    def ranges(self) -> dict[str, tuple[float, float]]:
        """Keys with their unit, and bounds in it."""
        return dict(self.__pydantic_extra__)


class ForceFieldSection(Section):
    """[force_field] Force-field files, or the files of a prepared system, and how to apply them."""

    files: tuple[str, ...] = Field(
        (), description="OpenMM force-field XML files: by name, or beside system.toml."
    )
    amber_prmtop: str | None = Field(None, description="Amber topology beside system.toml, instead of files.")
    gromacs_top: str | None = Field(
        None, description="GROMACS topology beside system.toml, instead of files."
    )
    gromacs_include: str | None = Field(
        None, description="Folder of GROMACS' *.ff folders; default that of the GROMACS installed."
    )
    charmm_psf: str | None = Field(
        None, description="CHARMM structure file beside system.toml, instead of files."
    )
    charmm_parameters: tuple[str, ...] = Field((), description="CHARMM parameter files of charmm_psf.")
    system_xml: str | None = Field(
        None, description="Serialised openmm.System beside system.toml, instead of files."
    )
    allow_code: bool = Field(
        False,
        description="Whether your files may run the Python code that they hold, as scripts of yours do.",
    )
    constraints: Literal["none", "h-bonds", "all-bonds"] = Field(
        "h-bonds", description="Bonds of fixed length."
    )
    nonbonded_method: Literal["auto", "no-cutoff", "cutoff-nonperiodic", "cutoff-periodic", "pme"] = Field(
        "auto",
        description="Treatment of nonbonded interactions at long range; auto is pme in a box, else no-cutoff.",
    )
    nonbonded_cutoff_nm: PositiveFloat = Field(1.0, description="Cutoff, for the methods that have one.")
    hydrogen_mass_amu: PositiveFloat | None = Field(
        None, description="Mass taken over by hydrogens; default none."
    )

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        sources = ("files", "amber_prmtop", "gromacs_top", "charmm_psf", "system_xml")
        given = [name for name in sources if getattr(self, name)]
        if len(given) != 1:
            but = f", but got {' and '.join(given)}" if given else ""
            raise ValueError(
                "give either files (force-field XML), amber_prmtop, gromacs_top, charmm_psf (with charmm_parameters) "
                f"or system_xml (a serialised OpenMM System){but}"
            )
        beside = sorted(self.model_fields_set - {"system_xml", "allow_code"})
        if self.system_xml is not None and beside:
            raise ValueError(f"system_xml already says everything: remove {', '.join(beside)}")
        if self.gromacs_include is not None and self.gromacs_top is None:
            raise ValueError("gromacs_include belongs to gromacs_top: remove it")
        if bool(self.charmm_parameters) != (self.charmm_psf is not None):
            raise ValueError("charmm_psf and charmm_parameters belong together: give both")
        return self


class StateSection(Section):
    """[states.A], [states.B] A name, and ranges such as phi_degree = [-180, -40] or oh_nm = [0, 0.25]."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, Range]

    name: str = Field(min_length=1, description="Name of the state, such as C5.")

    @property
    def ranges(self) -> dict[str, tuple[float, float]]:
        """Keys with their unit, and bounds in it."""
        return dict(self.__pydantic_extra__)


class StatesSection(Section):
    """[states] The two states that the transition connects."""

    A: StateSection
    B: StateSection


class SystemFile(Section):
    """A whole system.toml."""

    system: SystemSection
    force_field: ForceFieldSection
    collective_variables: dict[str, dict[str, Any]] = Field(min_length=1)
    states: StatesSection
    confinement: ConfinementSection | None = None
