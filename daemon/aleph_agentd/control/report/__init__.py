"""`aleph-agentctl report`: what happened and what it cost, as one page that needs nothing else."""
