"""How much faster a U-Net becomes: ours, the peers and the limit, timed side by side in one run."""
