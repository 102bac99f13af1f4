# %% [markdown]
# # Why your PSNR differs
#
# Two programs that score the same two images often disagree by a decibel, more than the progress
# of a year. Each follows another protocol, and none says which. Here one choice at a time is
# changed.
#
# On the command line the same table is `cscsr score large.png truth.png --scale 3 --explain`.

# %%
import matplotlib.pyplot as plt
import numpy as np

from cscsr import Bicubic, SuperResolution
from cscsr.data.datasets import demo
from cscsr.imaging import crop_to_multiple, degrade
from cscsr.imaging.explain import as_text, explain

scale = 3
truth = crop_to_multiple(dict(demo())["chelsea"], scale)
small = degrade(truth, scale, "rgb")
estimate = np.clip(Bicubic().solve(SuperResolution(small, scale)).estimate, 0, 1)
measures, resizes = explain(np.round(estimate * 255) / 255, truth, scale)
print(as_text(measures), as_text(resizes), sep="\n\n")

# %% [markdown]
# The first table scores one estimate in several ways. The second scores bicubic interpolation if
# the small image was made, or enlarged, by another library: MATLAB's `imresize` smooths before it
# shrinks, OpenCV's does not.
#
# So before you compare two figures: luma or RGB, which luma, how many pixels cut off, and who
# shrank the image? [The protocol](../docs/protocol.md) has the answers for the tables of this
# field.

# %%
changes = [(line.choice, line.psnr_db - measures[0].psnr_db) for line in measures[1:]]
changes += [(line.choice, line.psnr_db - resizes[0].psnr_db) for line in resizes[1:]]
changes = [(choice, worth) for choice, worth in changes if "SSIM" not in choice][::-1]

figure, axis = plt.subplots(figsize=(9, 3.6), dpi=110, layout="constrained")
axis.barh(range(len(changes)), [worth for _, worth in changes], color="#00796b")
axis.set_yticks(range(len(changes)), [choice for choice, _ in changes], fontsize=8)
axis.axvline(0, color="black", linewidth=0.8)
axis.set(xlabel="what the choice changes, in dB")
axis.set_title("bicubic interpolation, chelsea, ×3: the same image, other protocols", fontsize=10)
axis.grid(axis="x", alpha=0.25)
figure.savefig("why_psnr_differs.png")
