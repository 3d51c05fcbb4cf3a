#!/bin/sh
# slim.sh ENVIRONMENT: take from the packages of a virtual environment what no run of stockcast reads.
# What is left runs in the same build (warm.sh) and is measured by `make image-test`.
set -eu
rm -rf "$1"/share/jupyter "$1"/share/man
cd "$1"/lib/python3.*/site-packages

# For compiling operations against TensorFlow, and the compiler's library for mobile converters.
rm -rf tensorflow/include tensorflow/xla_aot_runtime_src clang
# Its converter to StableHLO, and operations that only graphs of XLA's own have.
rm -f tensorflow/compiler/mlir/stablehlo/stablehlo_extension.so tensorflow/compiler/tf2xla/ops/_xla_ops.so
# Descriptions of all of Google's services for a client that dagster-gcp brings for Dataproc; without them it asks Google.
rm -rf googleapiclient/discovery_cache/documents
# Arrow's servers.
rm -f pyarrow/libarrow_flight.so* pyarrow/libarrow_python_flight.so* pyarrow/_flight.*
# Maps and films beside the stocks, and another package's examples.
rm -f bokeh_sampledata/_data/*.db
find statsmodels/datasets -name '*.csv' -delete
# A second client, which Dagster's launcher does not use.
rm -rf kubernetes/aio
# Extensions and examples for Jupyter, and what maps minified scripts to their sources.
rm -rf pydeck/nbextension evidently/nbextension jupyterlab_plotly
find . \( -name '*.ipynb' -o -name '*.map' -o -name '*.pyi' \) -delete
# C sources, headers and static libraries of extensions that are compiled already.
find . \( -name '*.c' -o -name '*.cpp' -o -name '*.h' -o -name '*.hpp' -o -name '*.pyx' -o -name '*.a' \) -type f -delete
# Their own tests, with their data.
for package in h5py matplotlib numpy pandas pyarrow scipy sklearn statsmodels; do
    find "$package" -type d -name tests -prune -exec rm -rf {} +
done
# Symbols, which a debugger alone reads. Those in *.libs were laid out anew by auditwheel: they stay as they are.
find . -name '*.so*' -size +1M -not -path '*.libs/*' -exec strip --strip-unneeded {} +
