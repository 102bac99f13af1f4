# %% [markdown]
# # Enlarge a photo
#
# On the command line: `cscsr upscale photo.jpg --scale 3`. It takes PNG, TIFF, JPEG, WebP and
# AVIF, large images in parts, folders, transparency and colour profiles. In Python an image is an
# array in [0, 1]:

# %%
import numpy as np

import cscsr
import cscsr.plot
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
# work. There is no truth here to compare with, so look.

# %%
repeated = np.kron(photo, np.ones((3, 3, 1)))
bicubic = cscsr.Bicubic().solve(cscsr.SuperResolution(photo, scale=3)).estimate
images = {"each pixel repeated": repeated, "bicubic": bicubic, "crnet-b-small": solution.estimate}
figure = cscsr.plot.compare_images(images, box=(60, 50, 110, 110))
figure.savefig("enlarge_a_photo.png")
