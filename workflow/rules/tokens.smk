"""Tokenizers and token caches."""


rule build_tokenizer:
    """Train or fetch a tokenizer."""
    input:
        unpack(lambda w: PLAN.tokenizer_inputs(w.tokenizer)),
    output:
        "artifacts/tokenizers/{tokenizer}/tokenizer.json",
    log:
        "logs/tokenizers/{tokenizer}.log",
    benchmark:
        "logs/tokenizers/{tokenizer}.benchmark.tsv"
    conda:
        "../../envs/electralab.yaml"
    threads: 2
    resources:
        mem_mb=4000,
        runtime=240,
    params:
        spec=lambda w: PLAN.tokenizer_spec(w.tokenizer),
    message:
        "Build tokenizer {wildcards.tokenizer}"
    shell:
        "python -m electralab tokenizer --spec {params.spec:q} --inputs {input:q} --out {output} 2> {log}"


rule build_tokens:
    """Write a corpus as a cache of tokens."""
    input:
        corpus="artifacts/corpora/{corpus}/manifest.json",
        tokenizer="artifacts/tokenizers/{tokenizer}/tokenizer.json",
    output:
        "artifacts/tokens/{corpus}/{tokenizer}/manifest.json",
    log:
        "logs/tokens/{corpus}-{tokenizer}.log",
    benchmark:
        "logs/tokens/{corpus}-{tokenizer}.benchmark.tsv"
    conda:
        "../../envs/electralab.yaml"
    threads: 8
    resources:
        mem_mb=4000,
        runtime=480,
    message:
        "Tokenize {wildcards.corpus} with {wildcards.tokenizer}"
    shell:
        "python -m electralab tokens --corpus {input.corpus} --tokenizer {input.tokenizer} --workers {threads}"
        " --out {output} 2> {log}"
