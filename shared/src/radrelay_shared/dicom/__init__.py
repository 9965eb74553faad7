"""What the services that read DICOM have in common."""
