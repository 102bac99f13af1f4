"""Super-resolution patch by patch: A+ (Timofte et al. 2014), its parts, and its training."""
