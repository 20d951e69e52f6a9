"""`python -m app.simulator --port 0` says where it listens, and serves until it is stopped."""

import argparse

from app.simulator.serving import play
from app.simulator.world import Conduct


def main() -> None:
    """Serve."""
    parser = argparse.ArgumentParser(prog="python -m app.simulator", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="0 is any that is free")
    parser.add_argument(
        "--failure-rate", type=float, default=0.0, help="the share of bookings that fail, 0.2 for 20 %%"
    )
    parser.add_argument("--seed", type=int, default=1, help="which of them fail")
    arguments = parser.parse_args()
    play(Conduct(failure_rate=arguments.failure_rate, seed=arguments.seed), arguments.port)


if __name__ == "__main__":
    main()
