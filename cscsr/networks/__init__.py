"""The networks that unroll convolutional sparse coding, as plain torch modules."""

from cscsr.networks.crnet import CISTABlock, CRNetA, CRNetB, build

__all__ = ["CISTABlock", "CRNetA", "CRNetB", "build"]
