"""The soak: random kills, fuzzed inputs and full disks for as long as one likes.

    python -m tests.soak --minutes 20

`kills` ends commands at random moments and checks that nothing is lost, `fuzz` gives damaged files
to the public readers, `disks` runs every writer where there is too little room. Each case follows
from the seed, its kind and its number alone, so that one case can be run again.
"""
