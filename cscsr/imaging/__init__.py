"""Images: resizing, colour, metrics, the protocols of the tables, reading and writing."""

from cscsr.imaging.resize import imresize

__all__ = ["imresize"]
