"""DICOM JSON as the Native DICOM Model in XML (PS3.19 §A.1), for clients that ask for application/dicom+xml."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from xml.etree.ElementTree import Element as Node
from xml.etree.ElementTree import SubElement, tostring

from pydicom.datadict import keyword_for_tag

NAMESPACE = "http://dicom.nema.org/PS3.19/models/NativeDICOM"
GROUPS = ("Alphabetic", "Ideographic", "Phonetic")
COMPONENTS = ("FamilyName", "GivenName", "MiddleName", "NamePrefix", "NameSuffix")


def native(instance: Mapping[str, Any]) -> bytes:
    """One instance's or one answer's attributes as a document."""
    root = Node("NativeDicomModel", xmlns=NAMESPACE)
    add_attributes(root, instance)
    found: bytes = tostring(root, encoding="utf-8", xml_declaration=True)
    return found


def native_text(text: bytes) -> bytes:
    """The same out of the JSON text. Blocks: call it in a thread."""
    return native(json.loads(text))


def add_attributes(parent: Node, attributes: Mapping[str, Any]) -> None:
    for tag, element in sorted(attributes.items()):
        keyword = keyword_for_tag(int(tag, 16))
        named = {"keyword": keyword} if keyword else {}
        node = SubElement(parent, "DicomAttribute", {"tag": tag, "vr": element["vr"], **named})
        for number, value in enumerate(element.get("Value", ()), 1):
            add_value(node, element["vr"], str(number), value)
        if "BulkDataURI" in element:
            SubElement(node, "BulkData", uri=element["BulkDataURI"])
        if "InlineBinary" in element:
            SubElement(node, "InlineBinary").text = element["InlineBinary"]


def add_value(node: Node, vr: str, number: str, value: Any) -> None:
    """An empty value of several keeps its number by being left out."""
    if value is None:
        return
    if vr == "SQ":
        add_attributes(SubElement(node, "Item", number=number), value)
    elif vr == "PN":
        add_name(SubElement(node, "PersonName", number=number), value)
    else:
        SubElement(node, "Value", number=number).text = str(value)


def add_name(node: Node, groups: Mapping[str, str]) -> None:
    for group in (each for each in GROUPS if groups.get(each)):
        inner = SubElement(node, group)
        for component, text in zip(COMPONENTS, groups[group].split("^"), strict=False):
            if text:
                SubElement(inner, component).text = text
