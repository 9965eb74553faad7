"""Which options of PS3.15 Annex E are in force: a profile, as its YAML file says it."""

from __future__ import annotations

import functools
from enum import StrEnum
from importlib import resources
from typing import Literal

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from radrelay_shared.errors import Invalid

Temporal = Literal["UNMODIFIED", "MODIFIED", "REMOVED"]


class Option(StrEnum):
    """The options of PS3.15 Table E.1-1 as profiles spell them, but for "clean recognizable visual features"."""

    CLEAN_PIXEL_DATA = "clean-pixel-data"
    CLEAN_GRAPHICS = "clean-graphics"
    CLEAN_STRUCTURED_CONTENT = "clean-structured-content"
    CLEAN_DESCRIPTORS = "clean-descriptors"
    RETAIN_FULL_DATES = "retain-full-dates"
    RETAIN_MODIFIED_DATES = "retain-modified-dates"
    RETAIN_PATIENT_CHARACTERISTICS = "retain-patient-characteristics"
    RETAIN_DEVICE_IDENTITY = "retain-device-identity"
    RETAIN_UIDS = "retain-uids"
    RETAIN_SAFE_PRIVATE = "retain-safe-private"
    RETAIN_INSTITUTION_IDENTITY = "retain-institution-identity"


BASIC = ("113100", "Basic Application Confidentiality Profile")
# Code and meaning of each (CID 7050).
CODES = {
    Option.CLEAN_PIXEL_DATA: ("113101", "Clean Pixel Data Option"),
    Option.CLEAN_GRAPHICS: ("113103", "Clean Graphics Option"),
    Option.CLEAN_STRUCTURED_CONTENT: ("113104", "Clean Structured Content Option"),
    Option.CLEAN_DESCRIPTORS: ("113105", "Clean Descriptors Option"),
    Option.RETAIN_FULL_DATES: ("113106", "Retain Longitudinal Temporal Information Full Dates Option"),
    Option.RETAIN_MODIFIED_DATES: ("113107", "Retain Longitudinal Temporal Information Modified Dates Option"),
    Option.RETAIN_PATIENT_CHARACTERISTICS: ("113108", "Retain Patient Characteristics Option"),
    Option.RETAIN_DEVICE_IDENTITY: ("113109", "Retain Device Identity Option"),
    Option.RETAIN_UIDS: ("113110", "Retain UIDs Option"),
    Option.RETAIN_SAFE_PRIVATE: ("113111", "Retain Safe Private Option"),
    Option.RETAIN_INSTITUTION_IDENTITY: ("113112", "Retain Institution Identity Option"),
}


class Profile(BaseModel):
    """The Basic Profile and these options."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    options: frozenset[Option]

    @model_validator(mode="after")
    def _dates_are_full_or_modified(self) -> Profile:
        if {Option.RETAIN_FULL_DATES, Option.RETAIN_MODIFIED_DATES} <= self.options:
            raise ValueError("dates cannot be retained both full and modified")
        return self

    @property
    def codes(self) -> tuple[tuple[str, str], ...]:
        """Code and meaning of what (0012,0064) shall say, in order of the codes.

        Without "clean pixel data": only who did clean an instance's pixels may say so.
        """
        return (BASIC, *sorted(CODES[option] for option in self.options - {Option.CLEAN_PIXEL_DATA}))

    @property
    def temporal(self) -> Temporal:
        """The value of (0028,0303)."""
        if Option.RETAIN_FULL_DATES in self.options:
            return "UNMODIFIED"
        return "MODIFIED" if Option.RETAIN_MODIFIED_DATES in self.options else "REMOVED"


class Choice(BaseModel):
    """Which profile a study gets; a site of `*` is any that no other line names."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    site: str = "*"
    purpose: str = "reading"
    profile: str


class Profiles(BaseModel):
    """An operator's own profiles beside the packaged ones, and who gets which."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    profiles: dict[str, Profile] = {}
    choices: tuple[Choice, ...] = ()

    @model_validator(mode="after")
    def _choices_name_profiles(self) -> Profiles:
        for choice in self.choices:
            if choice.profile not in {*self.profiles, *packaged_names()}:
                raise ValueError("a choice names a profile that is neither packaged nor defined here")
        return self

    def named(self, name: str) -> Profile:
        """The operator's profile of this name, or the packaged one; raises `Invalid` if there is none."""
        return self.profiles.get(name) or packaged(name)

    def chosen(self, site: str, purpose: str) -> Profile:
        """The profile for this site's studies and purpose: the site's own line, any site's, or the default."""
        found = {each.site: each.profile for each in self.choices if each.purpose == purpose}
        name = found.get(site) or found.get("*")
        return self.named(name) if name else default()


def default() -> Profile:
    return packaged("teleradiology")


def packaged_names() -> frozenset[str]:
    return frozenset(file.name.removesuffix(".yaml") for file in _folder().iterdir() if file.name.endswith(".yaml"))


@functools.cache
def packaged(name: str) -> Profile:
    """The profile that ships under this name; raises `Invalid` if there is none."""
    if name not in packaged_names():
        raise Invalid(f"there is no such profile; there are: {', '.join(sorted(packaged_names()))}")
    return Profile.model_validate(yaml.safe_load(_folder().joinpath(f"{name}.yaml").read_text("utf-8")))


def profiles_in(text: str) -> Profiles:
    """An operator's YAML; raises `Invalid` with the places that are wrong."""
    try:
        return Profiles.model_validate(yaml.safe_load(text) or {})
    except yaml.YAMLError:
        raise Invalid("the file of profiles is not YAML") from None
    except ValidationError as error:
        places = sorted({".".join(map(str, each["loc"])) or each["msg"] for each in error.errors()})
        raise Invalid(f"the file of profiles is not valid: {'; '.join(places)}") from None


def _folder() -> resources.abc.Traversable:
    return resources.files("radrelay_anonymize").joinpath("profiles")
