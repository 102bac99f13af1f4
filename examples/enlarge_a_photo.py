# %% [markdown]
# # Enlarge a photo
#
# On the command line: `cscsr upscale photo.jpg --scale 3`. It takes PNG, TIFF, JPEG, WebP and
# AVIF, large images in parts, folders, transparency and colour profiles. In Python an image is an
# array in [0, 1]:

# %%
import matplotlib.pyplot as plt
import numpy as np

import cscsr
from cscsr.data.datasets import demo
from cscsr.imaging import read_image, write_image

write_image("photo.png", dict(demo())["astronaut"][54:156, 69:171])  # any photograph of yours
photo = read_image("photo.png").astype("float32") / 255
print(photo.shape, photo.dtype)

# %%
solver = cscsr.make_solver("crnet-b-small")
solution = solver.solve(cscsr.SuperResolution(photo, scale=3))
write_image("large.png", solution.estimate)
print(solution)

# %% [markdown]
# `crnet-b-small+` is the mean over eight flips and rotations: a little better, eight times the
# work. Here is no truth to compare with, so look.

# %%
repeated = np.kron(photo, np.ones((3, 3, 1)))
bicubic = cscsr.Bicubic().solve(cscsr.SuperResolution(photo, scale=3)).estimate
panels = {"each pixel repeated": repeated, "bicubic": bicubic, "crnet-b-small": solution.estimate}
figure, axes = plt.subplots(1, 3, figsize=(10, 3.6), dpi=110, layout="constrained")
for axis, (title, image) in zip(axes, panels.items(), strict=True):
    axis.imshow(np.clip(image, 0, 1), interpolation="nearest")
    axis.set_title(title, fontsize=10)
    axis.set_axis_off()
figure.savefig("enlarge_a_photo.png")
