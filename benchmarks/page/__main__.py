"""`python -m benchmarks.page`."""

from benchmarks.page import main

raise SystemExit(main())
