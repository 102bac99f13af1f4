# %% [markdown]
# # Missing pixels and impulse noise
#
# Sparse coding can leave pixels out of account, and it can explain wrong pixels by an atom of their
# own. This example fills in half of the pixels of a photograph, and removes random values from a
# tenth of them. The image is a crop of scikit-image's camera.

# %%
import matplotlib.pyplot as plt
import numpy as np
from scipy.interpolate import griddata
from scipy.ndimage import median_filter

import cscsr
from cscsr.data.problems import CORNER, camera, camera_problem

size = 128
random = np.random.default_rng(0)
observed = random.random((size, size)) < 0.5
wrong = random.random((size, size)) < 0.1
values = random.random((size, size))


def crop(corner):
    return camera()[corner[0] :, corner[1] :][:size, :size].astype(np.float32)


truth = crop(CORNER)
noisy = np.where(wrong, values, truth).astype(np.float32)

# %% [markdown]
# **The atoms.** Sixteen atoms were learned by sporco on other parts of the photograph. They code
# edges and texture. The smooth part of the image has an atom of its own, a cubic B-spline of 13×13
# pixels, and an impulse of one pixel takes up wrong pixels. `stack_filters` puts atoms of different
# sizes into one array.

# %%
spacing = 4
box = np.ones(spacing) / spacing
spline = np.convolve(np.convolve(box, box), np.convolve(box, box))
smooth = np.outer(spline, spline)
smooth /= np.linalg.norm(smooth)
impulse = np.ones((1, 1))
learned = camera_problem(size, atoms=16, filter_size=7).dictionary
dictionary = cscsr.stack_filters([smooth, impulse, *learned]).astype(np.float32)

# %% [markdown]
# **The penalties.** λ may differ from code to code. The spline's codes cost nothing on a grid of
# every fourth pixel, and between its points more than any code is worth. The impulse has a λ of
# its own.
#
# **The mask.** It is true where a pixel counts. A margin that it excludes keeps opposite sides of
# the image apart, because the convolution is circular.

# %%
margin = 16
forbidden = 1e3


def explained(image, mask, lam, impulse_lam):
    """What all atoms but the impulse make of an image, of which the pixels in `mask` count."""
    penalty = np.full((18, size + margin, size + margin), lam, np.float32)
    penalty[0] = forbidden
    penalty[0, ::spacing, ::spacing] = 0
    penalty[1] = impulse_lam
    signal, mask = (np.pad(array, (0, margin)) for array in (image, mask))
    problem = cscsr.SparseCoding(signal, dictionary, penalty, mask=mask)
    solution = cscsr.FISTA(iterations=400, tol=1e-4, record_every=0).solve(problem)
    print(problem, solution, sep="\n")
    codes = solution.codes.copy()
    codes[1] = 0
    return problem.synthesis(codes)[:size, :size]


def inpainted(image, lam):
    return np.where(observed, image, explained(image * observed, observed, lam, forbidden))


def cleaned(image, lam, impulse_lam):
    return explained(image, np.full(image.shape, True), lam, impulse_lam)


filled = inpainted(truth, 0.01)
clean = cleaned(noisy, 0.02, 0.02)

# %% [markdown]
# **The penalties were chosen on another crop**, by the following loop. It takes some minutes, so it
# is switched off.


# %%
def psnr(image, truth, where=...):
    return -10 * np.log10(np.mean((image - truth)[where] ** 2))


choose = False
if choose:
    other = crop((64, 64))
    damaged = np.where(wrong, values, other).astype(np.float32)
    for lam in (0.005, 0.01, 0.02, 0.05, 0.1, 0.2):
        print("mask", lam, psnr(inpainted(other, lam), other, ~observed))
        for impulse_lam in (0.02, 0.05, 0.1, 0.2):
            print("impulses", lam, impulse_lam, psnr(cleaned(damaged, lam, impulse_lam), other))

# %% [markdown]
# **Beside simple methods.** For the missing pixels, linear interpolation between the observed ones
# is better than sparse coding with these atoms. For the wrong pixels, sparse coding has the higher
# PSNR: the median of 3×3 pixels blurs hair and edges, while sparse coding leaves some faint spots.

# %%
places = np.indices(truth.shape).transpose(1, 2, 0)
linear, nearest = (
    griddata(places[observed], truth[observed], places, m) for m in ("linear", "nearest")
)
linear = np.where(np.isnan(linear), nearest, linear)
median = median_filter(noisy, 3, mode="wrap")

rows = {
    "missing": {
        "half of the pixels missing": truth * observed,
        "linear interpolation": linear,
        "sparse coding with a mask": filled,
    },
    "wrong": {
        "a tenth of the pixels random": noisy,
        "median of 3×3": median,
        "sparse coding with an impulse atom": clean,
    },
}
figure, axes = plt.subplots(2, 3, figsize=(9, 6.6), dpi=110, layout="constrained")
for row, (damage, images) in zip(axes, rows.items(), strict=True):
    where = ~observed if damage == "missing" else ...
    for axis, (name, image) in zip(row, images.items(), strict=True):
        value = psnr(image, truth, where)
        print(f"{name:34} {value:.2f} dB")
        axis.imshow(image, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
        axis.set_title(f"{name}\n{value:.2f} dB", fontsize=9)
        axis.set_axis_off()
figure.savefig("inpainting.png")

# %% [markdown]
# The PSNR of the upper row is that of the missing pixels, that of the lower row of all pixels.
