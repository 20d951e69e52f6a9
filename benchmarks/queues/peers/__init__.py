"""The peers, each a script that runs in the environment `install` makes for it, and knows nothing of ours."""
