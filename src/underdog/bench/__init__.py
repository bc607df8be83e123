"""What ``underdog bench`` measures: each figure beside a bare loop, a peer or a bound, in the same run."""
