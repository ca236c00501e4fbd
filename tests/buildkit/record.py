#!/usr/bin/env python3
"""Records what BuildKit's caches say of conformance cases: see record."""
import json, os, shutil, subprocess, sys, tarfile, tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
CASES = f'{HERE}/../conformance/cases'
# One or two of each subject that goes into a key.
NAMES = open(f'{HERE}/records/CASES').read().split()


def blob(directory, digest):
    return json.load(open(f'{directory}/blobs/{digest.replace(":", "/")}'))


def base_facts(directory):
    entry = json.load(open(f'{directory}/index.json'))['manifests'][0]
    config = blob(directory, blob(directory, entry['digest'])['config']['digest'])
    return entry['digest'], {'manifest': entry['digest'], 'config': config}


def build(context, spec, bases, *outputs):
    command = ['buildctl', 'build', '--frontend', 'dockerfile.v0', '--local', f'context={context}', '--local', f'dockerfile={context}',
               '--opt', 'platform=linux/amd64', '--opt', f'filename={spec.get("file", "Dockerfile")}']
    if spec.get('target'):
        command += ['--opt', f'target={spec["target"]}']
    for name, value in spec.get('args', {}).items():
        command += ['--opt', f'build-arg:{name}={value}']
    for name in ('bb', 'cfg', 'onb'):
        command += ['--oci-layout', f'{name}={bases}/{name}', '--opt', f'context:{name}=oci-layout://{name}@{base_facts(f"{bases}/{name}")[0]}']
    for name in spec.get('secrets', {}):
        command += ['--secret', f'id={name},src={HERE}/record']
    subprocess.run(command + list(outputs), check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def cache_of(directory):
    manifest = blob(directory, json.load(open(f'{directory}/index.json'))['manifests'][0]['digest'])
    return {'manifest': manifest, 'cache': blob(directory, manifest['config']['digest'])}


def write(name, value):
    with open(f'{HERE}/{name}', 'w') as file:
        json.dump(value, file, separators=(',', ':'))
        file.write('\n')


def main():
    bases = os.path.abspath(sys.argv[1])
    facts = {name: base_facts(f'{bases}/{name}')[1] for name in ('bb', 'cfg', 'onb')}
    write('records/bases.json', facts)
    for key in NAMES:
        case = f'{CASES}/{key}'
        spec = json.load(open(f'{case}/case.json')) if os.path.exists(f'{case}/case.json') else {}
        with tempfile.TemporaryDirectory() as place:
            shutil.copytree(f'{case}/context', f'{place}/context', symlinks=True)
            for root, _, files in os.walk(f'{place}/context'):
                os.chmod(root, 0o755)
                for name in files:
                    path = f'{root}/{name}'
                    if not os.path.islink(path):
                        os.chmod(path, 0o755 if os.stat(path).st_mode & 0o100 else 0o644)
            build(f'{place}/context', spec, bases, '--export-cache', f'type=local,dest={place}/cache,mode=max')
            if not os.path.exists(f'{place}/cache/index.json'):
                sys.exit(f'{key}: BuildKit wrote no cache')
            write(f'records/{key.replace("/", "--")}.json', cache_of(f'{place}/cache'))
    # The same list of records in an image, and in an index as older versions write it.
    with tempfile.TemporaryDirectory() as place:
        built = f'{HERE}/built/context'
        build(built, {'secrets': {'s': ''}}, bases, '--export-cache', 'type=inline', '--output', f'type=oci,dest={place}/image.tar')
        with tarfile.open(f'{place}/image.tar') as archive:
            archive.extractall(f'{place}/image')
        digest = json.load(open(f'{place}/image/index.json'))['manifests'][0]['digest']
        shutil.copyfile(f'{place}/image/blobs/{digest.replace(":", "/")}', f'{HERE}/inline-manifest.json')
        config = blob(f'{place}/image', digest)['config']['digest']
        shutil.copyfile(f'{place}/image/blobs/{config.replace(":", "/")}', f'{HERE}/inline-config.json')
        build(built, {'secrets': {'s': ''}}, bases, '--export-cache', f'type=local,dest={place}/index,mode=max,image-manifest=false')
        write('index.json', blob(f'{place}/index', json.load(open(f'{place}/index/index.json'))['manifests'][0]['digest']))


main()
