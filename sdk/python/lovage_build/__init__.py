"""Makes a module of a Python file with tasks.

    python -m lovage_build tasks.py -o tasks.wasm
    python -m lovage_build check tasks.py
"""
