"""imresize: MATLAB's own output, exact rational arithmetic, and what any resize must keep."""

from __future__ import annotations

from fractions import Fraction
from math import ceil, floor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from cscsr import InputError
from cscsr.imaging import crop_to_multiple, imresize, read_image

SCALES = [Fraction(1, 2), Fraction(1, 3), Fraction(1, 4), Fraction(7, 10), Fraction(2), Fraction(3)]
scales = st.sampled_from(SCALES)
boundaries = st.sampled_from(["clamp", "mirror"])
sizes = st.tuples(st.integers(1, 14), st.integers(1, 14))
images = arrays(np.uint8, sizes)
# Away from 0 and 255, so that no overshoot is clipped.
mild_images = arrays(np.uint8, sizes, elements=st.integers(64, 192))


@pytest.mark.parametrize("name", ["baby", "bird", "butterfly", "head", "woman"])
@pytest.mark.parametrize("scale", [2, 3, 4])
def test_equals_matlab_on_the_published_images(shared_data, name, scale):
    truth = crop_to_multiple(read_image(shared_data / "Set5" / f"{name}.png"), scale)
    published = read_image(shared_data / "lr_oracle" / f"Set5_x{scale}" / f"{name}.png")
    np.testing.assert_array_equal(imresize(truth, 1 / scale), published)


def exact_cubic(x: Fraction) -> Fraction:
    x = abs(x)
    if x <= 1:
        return Fraction(3, 2) * x**3 - Fraction(5, 2) * x**2 + 1
    return -Fraction(1, 2) * x**3 + Fraction(5, 2) * x**2 - 4 * x + 2 if x <= 2 else Fraction(0)


def exact_line(line: list[int], scale: Fraction, boundary: str) -> list[int]:
    """One dimension by the definition, in rational arithmetic, rounded to 8 bits."""
    n = len(line)
    reflected = [*range(n), *reversed(range(n))]
    out = []
    for i in range(ceil(n * scale)):
        centre = (i + Fraction(1, 2)) / scale - Fraction(1, 2)
        shrink = min(scale, Fraction(1))
        taps = range(ceil(centre - 2 / shrink), floor(centre + 2 / shrink) + 1)
        weights = [exact_cubic((centre - j) * shrink) for j in taps]
        inside = [
            min(max(j, 0), n - 1) if boundary == "clamp" else reflected[j % (2 * n)] for j in taps
        ]
        value = sum(w * line[j] for w, j in zip(weights, inside, strict=True)) / sum(weights)
        out.append(min(max(floor(value + Fraction(1, 2)), 0), 255))
    return out


@given(images, scales, boundaries)
def test_8_bit_values_are_those_of_exact_arithmetic(image, scale, boundary):
    columns = [exact_line(list(map(int, column)), scale, boundary) for column in image.T]
    rows = [exact_line([int(v) for v in row], scale, boundary) for row in np.array(columns).T]
    np.testing.assert_array_equal(imresize(image, float(scale), boundary=boundary), rows)


@given(images)
def test_dimension_with_the_smaller_scale_goes_first(image):
    height, width = image.shape
    rows_first = imresize(imresize(image, shape=(2 * height, width)), shape=(2 * height, 3 * width))
    np.testing.assert_array_equal(imresize(image, shape=(2 * height, 3 * width)), rows_first)
    columns_first = imresize(
        imresize(image, shape=(height, 2 * width)), shape=(3 * height, 2 * width)
    )
    np.testing.assert_array_equal(imresize(image, shape=(3 * height, 2 * width)), columns_first)


@given(st.integers(0, 255), sizes, scales, boundaries)
def test_constant_images_stay_constant(value, size, scale, boundary):
    image = np.full(size, value, np.uint8)
    assert (imresize(image, float(scale), boundary=boundary) == value).all()
    out = imresize(image / 255, float(scale), boundary=boundary)
    np.testing.assert_allclose(out, value / 255, rtol=1e-14)


@given(images, images, scales, boundaries)
def test_floating_point_resizing_is_separable(a, b, scale, boundary):
    column, row = a[:, :1] / 255, b[:1] / 255
    tall = imresize(np.tile(column, (1, 3)), float(scale), boundary=boundary)[:, :1]
    wide = imresize(np.tile(row, (3, 1)), float(scale), boundary=boundary)[:1]
    out = imresize(column * row, float(scale), boundary=boundary)
    np.testing.assert_allclose(out, tall * wide, atol=1e-14)


@given(images, scales, boundaries)
def test_flips_commute_where_the_size_divides(image, scale, boundary):
    height, width = (n // scale.denominator * scale.denominator for n in image.shape)
    if height and width:
        image = image[:height, :width]
        out = imresize(image, float(scale), boundary=boundary)
        for flip in (np.flipud, np.fliplr):
            np.testing.assert_array_equal(
                imresize(flip(image), float(scale), boundary=boundary), flip(out)
            )


@given(mild_images, scales, boundaries)
def test_8_bit_and_floating_point_agree_within_the_two_roundings(image, scale, boundary):
    eight = imresize(image, float(scale), boundary=boundary)
    free = imresize(image.astype(np.float64), float(scale), boundary=boundary)
    # ½ from each rounding; the second dimension's weights enlarge the first by up to 1.25.
    assert np.abs(eight - free).max() <= 0.5 * 1.25 + 0.5 + 1e-9


@given(mild_images, st.sampled_from(["clamp", "mirror"]), scales)
def test_boundary_is_that_of_a_padded_image(image, boundary, scale):
    block = scale.denominator
    height, width = (n // block * block for n in image.shape)
    if not (height and width):
        return
    image = image[:height, :width]
    pad = 4 * block * ceil(1 / scale)
    padded = np.pad(image, pad, mode={"clamp": "edge", "mirror": "symmetric"}[boundary])
    border = int(pad * scale)
    wanted = imresize(padded, float(scale))[border:-border, border:-border]
    np.testing.assert_array_equal(imresize(image, float(scale), boundary=boundary), wanted)


@given(arrays(np.float64, 6, elements=st.floats(-1, 1)), st.sampled_from([2, 3, 4]))
def test_enlarging_reproduces_quadratics_inside(coefficients, scale):
    """Keys' kernel with a = -0.5 is exact on polynomials up to the second degree."""

    def polynomial(at):
        y, x = np.meshgrid(at, at, indexing="ij")
        return np.stack([np.ones_like(x), x, y, x * x, x * y, y * y], axis=-1) @ coefficients

    small = polynomial(np.arange(12.0))
    large = polynomial((np.arange(12 * scale) + 0.5) / scale - 0.5)
    inside = slice(3 * scale, -3 * scale)
    np.testing.assert_allclose(
        imresize(small, scale)[inside, inside], large[inside, inside], atol=1e-11
    )


@pytest.mark.slow
@pytest.mark.parametrize("scale", [2, 3, 4, 5, 6, 7])
def test_output_size_is_the_exact_ceiling(scale):
    for n in range(1, 700):
        assert imresize(np.zeros((n, 1)), 1 / scale).shape == (-(-n // scale), 1)


def test_kind_of_array_is_kept():
    image = np.random.default_rng(0).random((9, 7, 3))
    out = imresize(image, 2)
    assert out.shape == (18, 14, 3) and out.dtype == np.float64 and out.flags.c_contiguous
    single = imresize(image.astype(np.float32), 2)
    assert single.dtype == np.float32
    np.testing.assert_allclose(single, out, atol=1e-6)
    for channel in range(3):
        np.testing.assert_array_equal(imresize(image[..., channel], 2), out[..., channel])


@pytest.mark.parametrize(
    ("image", "arguments", "says"),
    [
        (np.zeros((4, 4)), {}, "a scale or a shape"),
        (np.zeros((4, 4)), {"scale": 0}, "positive"),
        (np.zeros((4, 4)), {"scale": float("nan")}, "positive"),
        (np.zeros((4, 4)), {"scale": "2"}, "positive"),
        (np.zeros((4, 4)), {"shape": (0, 4)}, "at least 1"),
        (np.zeros((4, 4)), {"scale": 2, "boundary": "wrap"}, "clamp, mirror"),
        (np.zeros((4, 4), int), {"scale": 2}, "uint8 or floating point, got int64"),
        (np.zeros((0, 4)), {"scale": 2}, r"\(0, 4\)"),
        (np.zeros(4), {"scale": 2}, r"\(4,\)"),
        ([[0.0]], {"scale": 2}, "list"),
        (np.array([[np.nan]]), {"scale": 2}, "NaN"),
    ],
)
def test_bad_input_is_told_in_one_sentence(image, arguments, says):
    with pytest.raises(InputError, match=says):
        imresize(image, **arguments)
