"""Query and retrieve for workstations (PS3.4 Annex C), over the same searches and the same shelf as DICOMweb."""
