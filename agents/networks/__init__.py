"""Networks: what an observation enters, and what comes out."""
