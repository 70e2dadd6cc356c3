"""Simulation programs that compute with the zoo's models.

Start with :func:`zoo.engines.lammps.attach`; OpenMM has
:func:`zoo.engines.openmm.make_force`, i-PI :func:`zoo.engines.ipi.run_client`.
"""
