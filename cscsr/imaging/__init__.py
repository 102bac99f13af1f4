"""Images: resizing, colour, metrics, the protocols of the tables, reading and writing."""

from cscsr.imaging.colour import (
    luma_of,
    rgb_to_y,
    rgb_to_ycbcr,
    to_uint8,
    with_luma,
    ycbcr_to_rgb,
)
from cscsr.imaging.files import read_image, read_picture, write_image, write_picture
from cscsr.imaging.metrics import (
    METRICS,
    Metric,
    crop_border,
    crop_to_multiple,
    gmsd,
    psnr,
    ssim,
)
from cscsr.imaging.picture import Picture
from cscsr.imaging.protocol import LINES, PROTOCOLS, degrade, line_of, luma_psnr, score
from cscsr.imaging.resize import imresize

__all__ = [
    "LINES",
    "METRICS",
    "PROTOCOLS",
    "Metric",
    "Picture",
    "crop_border",
    "crop_to_multiple",
    "degrade",
    "gmsd",
    "imresize",
    "line_of",
    "luma_of",
    "luma_psnr",
    "psnr",
    "read_image",
    "read_picture",
    "rgb_to_y",
    "rgb_to_ycbcr",
    "score",
    "ssim",
    "to_uint8",
    "with_luma",
    "write_image",
    "write_picture",
    "ycbcr_to_rgb",
]
