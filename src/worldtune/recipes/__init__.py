"""Recipes as plain data: roots, groups, experiments. No torch."""
