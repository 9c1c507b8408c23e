# The graph from recipes to the report. `python -m flowerlib report --profile P` calls it with the right flags.
#
# Digests decide what is stale: a file per run holds its digest and is written again only when the run is not done, so
# that snakemake, which looks at files, sees a newer one exactly then.

from flowerlib import graph, pipeline, recipes

PROFILE = config["profile"]
BUILD = pipeline.build_folder(PROFILE).relative_to(pipeline.ROOT)
# run name -> the runs that it uses; runs that cannot be made are left out
RUNS = graph.prepare(PROFILE, config.get("runs", ()))
COMPARING = [run for run in RUNS if recipes.load(run, PROFILE).uses == ("*",)]
SINGLE = [run for run in RUNS if run not in COMPARING]


wildcard_constraints:
    run=r"[^/]+",


rule report:
    input:
        expand(f"{BUILD}/figures/{{run}}/record.json", run=RUNS),
        [] if "runs" in config else f"{BUILD}/results.json",


rule run_notebook:
    input:
        digest=f"{BUILD}/digests/{{run}}",
        used=lambda wildcards: [
            f"{BUILD}/figures/{run}/record.json" for run in RUNS[wildcards.run] if wildcards.run not in COMPARING
        ] + [f"{BUILD}/results.json" for _ in range(1) if wildcards.run in COMPARING],
    output:
        f"{BUILD}/figures/{{run}}/record.json",
    # A training takes all cores: one at a time on a machine. On drawn flowers the cores are idle while kernels start
    # and plots are drawn.
    threads: 1 if PROFILE == "smoke" else workflow.cores
    shell:
        "python -m flowerlib run '{wildcards.run}' --profile {PROFILE}"


rule merge:
    input:
        expand(f"{BUILD}/figures/{{run}}/record.json", run=SINGLE),
    output:
        f"{BUILD}/results.json",
    shell:
        "python -m flowerlib merge --profile {PROFILE}"
