"""Policies that come with this version."""
