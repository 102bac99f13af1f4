"""The public data sets: their authors, terms, purposes, and where to download them.

To make a data set fetchable, add a row here and the SHA-256 of its files to ``upstream.csv``.
Needs the standard library only.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

_SRCNN = ("github.com/tegg89/SRCNN-Tensorflow", "78be1a24697935fc39a3a8cf59a6632264afade7")
_BSDS = ("github.com/BIDS/BSDS500", "a04b7c6c3a9f0ace74bf205c72a43d32e1c72722")
_SELFEXSR = ("github.com/jbhuang0604/SelfExSR", "8f6dd8c1d20cb7e8792a7177b4f6fd677633f598")
_CORPUS = ("github.com/imazen/codec-corpus", "55decfe826d350815e3af3b5ac69b882fb2943d3")
"""The repositories, each at the commit that the hashes belong to."""

_BSDS_AUTHORS = "BSDS500, Arbeláez et al. 2011"
_BSDS_TERMS = "non-commercial research and educational use"
_CID22_AUTHORS = "Cloudinary Image Dataset 2022"
_NO_LICENCE = "no licence stated"


@dataclass(frozen=True)
class Source:
    """A public data set.

    Attributes
    ----------
    name
        The name of the data set and of its folder.
    purpose
        "test": figures are measured on it; "training"; or "validation": choices are made on it.
        Only training sets are trained on.
    authors
        The authors, with the year of publication.
    terms
        The terms of use, where stated.
    origin
        Its address, without ``https://``: a GitHub repository if the set can be fetched.
    commit
        The commit of the repository; "" for a set that cannot be fetched.
    folder
        Its folder in the repository.
    suffix
        The end of its file names there, such as "_GT" in baby_GT.bmp, which is dropped here.
    """

    name: str
    purpose: Literal["test", "training", "validation"]
    authors: str
    terms: str
    origin: str
    commit: str = ""
    folder: str = ""
    suffix: str = ""

    @property
    def repository(self) -> str:
        """OWNER/NAME of the GitHub repository."""
        return self.origin.removeprefix("github.com/")


SOURCES = {
    source.name: source
    for source in (
        Source("Set5", "test", "Bevilacqua et al. 2012", _NO_LICENCE, *_SRCNN, "Test/Set5", "_GT"),
        Source("Set14", "test", "Zeyde et al. 2010", _NO_LICENCE, *_SRCNN, "Test/Set14"),
        Source("B100", "test", _BSDS_AUTHORS, _BSDS_TERMS, *_BSDS, "BSDS500/data/images/val"),
        Source(
            "Urban100",
            "test",
            "Huang et al. 2015",
            _NO_LICENCE,
            *_SELFEXSR,
            "data/Urban100/image_SRF_4",
            "_SRF_4_HR",
        ),
        Source("T91", "training", "Yang et al. 2010", _NO_LICENCE, *_SRCNN, "Train"),
        Source(
            "BSD200", "training", _BSDS_AUTHORS, _BSDS_TERMS, *_BSDS, "BSDS500/data/images/train"
        ),
        Source(
            "BSD200test",
            "training",
            _BSDS_AUTHORS,
            _BSDS_TERMS,
            *_BSDS,
            "BSDS500/data/images/test",
        ),
        Source(
            "SunHays80",
            "training",
            "Sun and Hays 2012",
            _NO_LICENCE,
            *_SELFEXSR,
            "data/Sun-Hays80/image_SRF_8",
            "_SRF_8_HR",
        ),
        Source(
            "CID22",
            "training",
            _CID22_AUTHORS,
            "CC BY-SA 4.0",
            *_CORPUS,
            "CID22/CID22-512/training",
        ),
        Source(
            "CID22val",
            "validation",
            _CID22_AUTHORS,
            "CC BY-SA 4.0",
            *_CORPUS,
            "CID22/CID22-512/validation",
        ),
        Source(
            "DIV2K",
            "training",
            "Agustsson and Timofte 2017",
            "terms on its page",
            "data.vision.ee.ethz.ch/cvl/DIV2K",
        ),
    )
}
"""The public data sets by name."""

FETCHABLE = {name: source for name, source in SOURCES.items() if source.commit}
"""The data sets that ``cscsr data fetch`` can download."""
