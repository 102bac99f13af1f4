"""`python -m cscsr.compare.page`."""

from cscsr.compare.page import main

raise SystemExit(main())
