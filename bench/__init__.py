"""Benchmarks. Never imported by the product."""
