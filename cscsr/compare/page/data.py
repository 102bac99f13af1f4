"""The data of page.js, as JSON: scores of each image, all pairs, sources and pictures."""

from __future__ import annotations

import base64
import json
import math
from typing import Any

from cscsr.compare.differences import LEAST_IMAGES
from cscsr.compare.page.elements import place_id
from cscsr.compare.page.sources import Sources
from cscsr.compare.records import Key, colour_key, truth_key
from cscsr.compare.results import Results
from cscsr.compare.summary import Place, Summary


def page_data(summary: Summary, sources: Sources) -> dict[str, Any]:
    """Return what page.js reads: by place, the PSNR of each image and the differences of all pairs
    of solvers; and the sources of the cells."""
    places = []
    for key, rows in summary.rows.groupby(list(Place._fields), sort=False):
        place = Place(key[0], int(key[1]), key[2])
        images = list(dict.fromkeys(rows.image))
        psnr_db = {}
        for solver, cell in rows.groupby("solver", sort=False):
            of_image = dict(zip(cell.image, cell.psnr_db.mask(cell.left_out), strict=True))
            psnr_db[solver] = [_rounded(of_image[image]) for image in images]
        pairs = {}
        for (solver, other), d in summary.differences[place].items():
            if d.images:
                figures = (d.mean_db, d.spread_db, d.low_db, d.high_db)
                pairs[f"{solver}|{other}"] = [d.images, d.won, d.lost, *map(_rounded, figures)]
        places.append(
            {
                "id": place_id(place),
                "title": str(place),
                "images": images,
                "psnr": psnr_db,
                "pairs": pairs,
            }
        )
    return {
        "solvers": summary.solvers,
        "leastImages": LEAST_IMAGES,
        "places": places,
        "sources": sources.rows,
    }


def _rounded(value: float | None) -> float | None:
    """A number rounded for JSON; None where it is missing or not finite."""
    if value is None or not math.isfinite(value):
        return None
    return round(value, 5)


def page_pictures(summary: Summary, results: Results) -> list[dict[str, Any]]:
    """Return the showcase images whose truth the database holds, with the solvers' pictures."""
    shown = []
    for case in summary.run["plan"].get("showcases", []):
        box, scale, sha256 = case["box"], case["scale"], case["input_sha256"]
        truth = results.picture(truth_key(sha256, scale), box)
        if truth is None:
            continue
        pictures = []
        for identity in summary.run["plan"]["solvers"]:
            key = Key.of(identity, sha256, scale)
            png = results.picture(key, box)
            row = results.find(key, case["dataset"], case["image"])
            if png is not None and row is not None:
                pictures.append(
                    {
                        "solver": identity["solver"],
                        "line": key.line,
                        "psnr": _rounded(row.scores.get("psnr")),
                        "png": _base64(png),
                        **_colours(results, key, box),
                    }
                )
        shown.append(
            {
                "title": f"{case['dataset']}/{case['image']} ×{scale}",
                "height": box[2],
                "width": box[3],
                "truth": {
                    "png": _base64(truth),
                    **_colours(results, truth_key(sha256, scale), box),
                },
                "pictures": pictures,
            }
        )
    return shown


def _colours(results: Results, key: Key, box: Any) -> dict[str, str]:
    """The entry of a picture's colours, if they are stored."""
    jpeg = results.picture(colour_key(key), box)
    return {} if jpeg is None else {"jpeg": _base64(jpeg)}


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode("ascii")


def script_json(value: Any) -> str:
    """Return `value` as JSON that is safe inside a script element."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c")
