"""Free energies by every road: windows, integration, work, weighted frames, surfaces."""
