"""What the studies share: curves, commands, figures, images, pages, races, short trainings."""
