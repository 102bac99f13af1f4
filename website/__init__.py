"""The site: hooks of MkDocs, the gallery, and additions to the theme."""
