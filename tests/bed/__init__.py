"""What the demo, the bench and the chaos run share: real processes, and what they use.

Everything is started on 127.0.0.1 and in folders of its own, and ended by its process id.
"""
