"""Figures and tables of the larger studies, each made from the CSV files of its study alone."""
