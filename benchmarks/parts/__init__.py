"""What the scripts measure with: each module one kind of measurement, run by the script that promises its figures."""
