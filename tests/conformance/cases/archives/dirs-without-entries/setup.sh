export TAR_OPTIONS="--mtime=@1500000000 --sort=name --owner=0 --group=0 --numeric-owner"
mkdir -p x/y/z && echo 1 >x/y/z/f && tar -cf a.tar x/y/z/f && rm -r x