#!/bin/sh
# slim.sh ENVIRONMENT [SINCE]: take from the packages of a virtual environment what no run of stockcast reads.
# With SINCE, libraries that are older than that file stay as they are. What is left runs in the same build (warm.sh) and is
# measured by `make image-test`.
set -eu
rm -rf "$1"/share/jupyter "$1"/share/man "$1"/bin/wheel
cd "$1"/lib/python3.*/site-packages

# For compiling operations against TensorFlow, and the compiler's library for mobile converters.
rm -rf tensorflow/include tensorflow/xla_aot_runtime_src clang
# Its converter to StableHLO, and operations that only graphs of XLA's own have.
rm -f tensorflow/compiler/mlir/stablehlo/stablehlo_extension.so tensorflow/compiler/tf2xla/ops/_xla_ops.so
# Descriptions of all of Google's services for a client that dagster-gcp brings for Dataproc; without them it asks Google.
rm -rf googleapiclient/discovery_cache/documents
# Arrow's servers, and copies of one library by names that only linkers ask for.
rm -f pyarrow/libarrow_flight.so* pyarrow/libarrow_python_flight.so* pyarrow/_flight.* \
    pyarrow/libarrow_python.so pyarrow/libarrow_python.so.*.*
# Maps, films and faces beside the stocks.
find bokeh_sampledata/_data -type f ! -name '*stocks*' -delete
# A second client, which Dagster's launcher does not use.
rm -rf kubernetes/aio
# What Evidently makes examples up with, a statistical test of its that is never asked for, and its own server's pages.
rm -rf faker/providers statsmodels evidently/ui/service/assets
# Charts of Streamlit's own, where ours are Plotly's.
rm -rf altair
# What builds packages.
rm -rf setuptools pkg_resources _distutils_hack distutils-precedence.pth wheel
# Extensions and examples for Jupyter, and what maps minified scripts to their sources.
rm -rf pydeck/nbextension evidently/nbextension jupyterlab_plotly
find . \( -name '*.ipynb' -o -name '*.map' -o -name '*.pyi' \) -delete
# C sources, headers and static libraries of extensions that are compiled already.
find . \( -name '*.c' -o -name '*.cpp' -o -name '*.h' \
    -o -name '*.hpp' -o -name '*.pyx' -o -name '*.pxd' -o -name '*.pxi' -o -name '*.cc' -o -name '*.a' \) -type f -delete
# Their own tests, with their data.
for package in h5py matplotlib numpy pandas pyarrow scipy sklearn; do
    [ ! -d "$package" ] || find "$package" -type d -name tests -prune -exec rm -rf {} +
done
# Symbols, which a debugger alone reads. Those in *.libs were laid out anew by auditwheel: they stay as they are.
find . -name '*.so*' -size +1M -not -path '*.libs/*' ${2:+-cnewer "$2"} -exec strip --strip-unneeded {} +
