"""The drill: restore the newest backup to scratch and prove that it is what was backed up."""
