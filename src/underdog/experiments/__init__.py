"""Runs of several methods, seeds and data sets: planned, made and summed up."""
