"""Other libraries' files, read and written without these libraries: numbers in, numbers out, nothing executed.

    from kanref.interop import pykan                         also efficient_kan, fast_kan, cheby_kan, jaxkan
    model, report = pykan.read("model/0.1")
    report = pykan.write(model, "model/0.2")

    from kanref.interop.convert import convert
    reports = convert("model/0.1", "model.safetensors")

Every reader returns a `kanref.Model` and a `Report` of what was kept, changed and dropped. What would be another function is
refused (`Unrepresentable`), unless strict=False is given. One file for each library; `torch_zip`, `yaml_subset` and
`msgpack_subset` are the formats.
"""
