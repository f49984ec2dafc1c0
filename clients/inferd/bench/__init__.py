"""Load for Open Inference servers: what to send and when, who sends it, what came of it.

`run` conducts a `Plan`: a fleet of client processes makes each step's load, `observed` looks at the
server meanwhile, and every step becomes a `StepResult` of the `Result`.
"""
