"""Tuning: which options a training does best with, judged on episodes that nothing else is judged by."""
