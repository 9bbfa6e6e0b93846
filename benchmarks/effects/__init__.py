"""What every parameter does to pictures: sweeps, the author's claims, quality against cost."""
