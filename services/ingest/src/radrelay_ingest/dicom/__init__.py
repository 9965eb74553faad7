"""The DICOM listener: upper layer (PS3.8) and storage service (PS3.4 §B) on asyncio, straight into the spool."""
