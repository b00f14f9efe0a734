"""TailoRT: open radiotherapy planning for oesophageal cancer. Research use; not a medical device."""

__version__ = "0.1.0"
